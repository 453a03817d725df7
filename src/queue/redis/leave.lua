-- uses: job bulk lease worker
-- job worker incarnation
if not open() then
    return no_job()
end
local name, count = ARGV[2], 0
local w = read_worker(name)
if not w or w.incarnation ~= ARGV[3] then
    return 0
end
for _, l in ipairs(leases_of(name)) do
    give_back(l[1], l[2], l[3], name, false)
    count = count + 1
end
job.released = job.released + count
event('worker.left', nil, name, nil, count)
forget_worker(name)
if #call('XPENDING', TASKS, GROUP, '-', '+', 1, name) == 0 then
    call('XGROUP', 'DELCONSUMER', TASKS, GROUP, name)
end
close()
return count
