for i = 1, 100000 do end return {}
