-- As wrk.lua, with heads that never repeat: a field of each request's own.
dofile((debug.getinfo(1, "S").source:match("@(.*/)") or "") .. "wrk.lua")
local number = 0
request = function()
   number = number + 1
   return "GET /small HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Number: " .. number .. "\r\n\r\n"
end
