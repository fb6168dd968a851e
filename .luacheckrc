-- luacheck lua policies examples tests/lua tests/specs
std = "luajit"
max_line_length = 110
exclude_files = { "build/**", "**/node_modules/**" }
ignore = { "212/_.*" } -- unused argument that says so by its name

-- Annotations declare what C provides; they are read by editors and never run.
files["lua/meta/**"] = {
  ignore = { "111", "112", "113", "131", "211", "212", "241" },
  max_comment_line_length = 120, -- a type cannot be broken
}
files["tests/lua/**"] = { std = "luajit+busted" }
files["**/*_spec.lua"] = { std = "luajit+busted" }
-- A hook keeps the parameters that its contract gives it, used or not.
files["policies/**"] = { unused_args = false }
files["examples/**"] = { unused_args = false }
files["tests/bench/**"] = { unused_args = false, globals = { "ngx" } }
