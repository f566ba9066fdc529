-- What Peer.java's handler does of a batch.
local records = 0

return function(batch) records = records + #batch end
