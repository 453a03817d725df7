-- uses: job
-- job after COUNT n
if not open() then
    return no_job()
end
local out = {}
for _, entry in ipairs(call('XRANGE', EVENTS, '(0-' .. ARGV[2], '+', 'COUNT', ARGV[4])) do
    local fields = entry[2]
    fields[#fields + 1] = 'seq'
    fields[#fields + 1] = string.sub(entry[1], 3)
    out[#out + 1] = fields
end
return out
