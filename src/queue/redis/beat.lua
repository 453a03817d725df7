-- uses: job bulk lease worker
-- job worker incarnation [chunk epoch ...]
local RENEW_MS = 5000

local function renew(name, idle)
    local from = '-'
    repeat
        local page = call('XPENDING', TASKS, GROUP, 'IDLE', idle, from, '+', SLICE, name)
        local words = {'XCLAIM', TASKS, GROUP, name, 0}
        for i, entry in ipairs(page) do
            words[i + 5] = entry[1]
            from = '(' .. entry[1]
        end
        if #page > 0 then
            words[#words + 1] = 'JUSTID'
            call(unpack(words))
        end
    until #page < SLICE
end

if not open() then
    return no_job()
end
local w, refused = caller()
if not w then
    return refused
end
check_presence()
local answer = {job.state, int(job.chunks - job.completed - job.dead - job.dropped)}
local chunks = {}
for i = 4, #ARGV, 2 do
    chunks[#chunks + 1] = ARGV[i]
end
local records = #chunks > 0 and call('HMGET', LEASE, unpack(chunks)) or {}
for i, chunk in ipairs(chunks) do
    local epoch, _, holder = read_lease(records[i])
    if epoch ~= ARGV[2 * i + 3] or holder ~= ARGV[2] then
        answer[#answer + 1] = chunk
    end
end
-- Renewal, for plain clients to see: what this worker has is never idle for long.
local idle = math.min(RENEW_MS, floor(job.stale_ms / 4))
if now - tonumber(call('HGET', RENEWED, ARGV[2]) or 0) > idle / 4 then
    call('HSET', RENEWED, ARGV[2], int(now))
    renew(ARGV[2], int(idle))
end
list_bulk(ARGV[2], (now - BULK_MS) * 1000 + job.skip_us) -- epochs begin with the time
close()
return answer
