-- uses: job bulk lease
-- job [AFTER chunk] COUNT n
if not open() then
    return no_job()
end
local after = ARGV[2] == 'AFTER' and ARGV[3] or nil
local count = tonumber(ARGV[#ARGV])
local from = after and call('ZRANK', DEAD, after)
if after and not from then
    from = -1
end
local out = {}
for _, chunk in ipairs(call('ZRANGE', DEAD, (from or -1) + 1, (from or -1) + count)) do
    local reasons = cjson.decode(call('HGET', WHY, chunk) or '[]')
    local last = reasons[#reasons] or {0, 0, '', ''}
    local _, attempts = read_lease(call('HGET', LEASE, chunk))
    out[#out + 1] = {'chunk', chunk, 'attempts', attempts or 0,
                     'dead_ms', tonumber(call('ZSCORE', DEAD, chunk)), 'worker', last[3],
                     'reason', last[4]}
end
return out
