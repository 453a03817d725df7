-- uses: job lease worker
-- job worker incarnation [chunk epoch ...]
local RENEW_MS = 5000
if not open() then
    return no_job()
end
local w, refused = caller()
if not w then
    return refused
end
check_presence()
local answer = {job.state, int(job.chunks - job.completed - job.dead - job.dropped)}
for i = 4, #ARGV, 2 do
    local epoch, _, holder = read_lease(call('HGET', LEASE, ARGV[i]))
    if epoch ~= ARGV[i + 1] or holder ~= ARGV[2] then
        answer[#answer + 1] = ARGV[i]
    end
end
-- Renewal, for plain clients to see: what this worker has is never idle for long.
local idle = int(math.min(RENEW_MS, floor(job.stale_ms / 4)))
local from = '-'
repeat
    local page = call('XPENDING', TASKS, GROUP, 'IDLE', idle, from, '+', SLICE, ARGV[2])
    local words = {'XCLAIM', TASKS, GROUP, ARGV[2], 0}
    for i, entry in ipairs(page) do
        words[i + 5] = entry[1]
        from = '(' .. entry[1]
    end
    if #page > 0 then
        words[#words + 1] = 'JUSTID'
        call(unpack(words))
    end
until #page < SLICE
close()
return answer
