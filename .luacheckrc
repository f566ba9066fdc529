std = "max"
cache = false
max_line_length = 120
exclude_files = { "build/**" }
files["spec/**/*_spec.lua"] = { std = "max+busted" }
files["lua/strand/loop/resty*"] = { std = "max+ngx_lua" }
files["lua/strand/loop/resty/**"] = { std = "max+ngx_lua" }
files["lua/strand/loop/resty/guard.lua"] = { globals = { "ngx" } } -- ngx.exit is its
files["examples/openresty/shop.lua"] = { std = "max+ngx_lua" }
files["spec/nginx/app.lua"] = { std = "max+ngx_lua", globals = { "ngx" } }
files["bench/nginx/app.lua"] = { std = "max+ngx_lua" }
files["bench/nginx/peers.lua"] = { std = "max+ngx_lua" }
files["bench/nginx/wrk.lua"] = { globals = { "delay", "done" } } -- wrk calls them
