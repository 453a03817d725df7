-- job worker incarnation [chunk epoch ...]
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
-- Renewal for plain clients to see: these entries are not idle.
local page = call('XPENDING', TASKS, GROUP, '-', '+', SLICE, ARGV[2])
if #page > 0 then
    local words = {'XCLAIM', TASKS, GROUP, ARGV[2], 0}
    for _, entry in ipairs(page) do
        words[#words + 1] = entry[1]
    end
    words[#words + 1] = 'JUSTID'
    call(unpack(words))
end
close()
return answer
