-- uses: job bulk lease worker
-- job worker incarnation reason
-- Whoever started the worker says that its process has ended, and how. It may be known as lost: then
-- what its chunks were charged with gets this reason.
if not open() then
    return no_job()
end
local name, key, reason = ARGV[2], ARGV[2] .. ' ' .. ARGV[3], ARGV[4]
local w = read_worker(name)
if w and w.incarnation == ARGV[3] then
    local count = lose(name, w, reason)
    close()
    return count
end
local at = call('ZSCORE', GONE, key)
if not at then
    return fail('LOST worker ' .. name .. ' has not joined, or has left')
end
for chunk in string.gmatch(call('HGET', CHARGED, key) or '', '%d+') do
    local known = call('HGET', WHY, chunk)
    local list = known and cjson.decode(known) or {}
    for _, r in ipairs(list) do
        if r[1] == tonumber(at) and r[3] == name then
            r[4] = string.sub(loss_text(name, reason), -4096)
        end
    end
    if known then
        call('HSET', WHY, chunk, cjson.encode(list))
    end
end
return 0
