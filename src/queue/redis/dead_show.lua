-- uses: job decimal range bulk lease
-- job chunk
if not open() then
    return no_job()
end
local at = call('ZSCORE', DEAD, ARGV[2])
if not at then
    return fail('NOENT chunk ' .. ARGV[2] .. ' is no dead letter')
end
local first, last = range(tonumber(ARGV[2]))
local reasons = {}
for i, r in ipairs(cjson.decode(call('HGET', WHY, ARGV[2]) or '[]')) do
    reasons[i] = {'at_ms', r[1], 'attempt', r[2], 'worker', r[3], 'reason', r[4]}
end
local _, attempts = read_lease(call('HGET', LEASE, ARGV[2]))
return {'chunk', ARGV[2], 'first', first, 'last', last, 'attempts', attempts or 0,
        'dead_ms', tonumber(at), 'reasons', reasons}
