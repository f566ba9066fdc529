-- Does nothing: what is measured is the way to here and back.
return function() end
