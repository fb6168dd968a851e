return { policy = function() end }
