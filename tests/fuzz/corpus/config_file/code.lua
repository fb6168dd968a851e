local size = 4
local limits = {}
for i = 1, 3 do limits["max_message"] = tostring(size * i) .. "MiB" end
return { limits = limits }
