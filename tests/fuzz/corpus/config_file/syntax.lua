return { limits = 
