return { limits = { max_mesage = 1 } }
