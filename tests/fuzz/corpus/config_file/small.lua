return { listen = { "127.0.0.1:8080", "[::1]:0" }, limits = { max_message = "2MiB", idle_after = 5 }, strict = true, options = { upstream = { url = "http://x" }, n = 1.5 } }
