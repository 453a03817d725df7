-- uses: job bulk lease worker
-- job worker incarnation [chunk epoch ...]
if not open() then
    return no_job()
end
local name, count = ARGV[2], 0
list_bulk(name)
local function release(chunk, epoch, attempts)
    give_back(chunk, epoch, attempts, name, false)
    count = count + 1
end
if #ARGV == 3 then
    local w = read_worker(name)
    if w and w.incarnation == ARGV[3] then
        for _, l in ipairs(leases_of(name)) do
            release(l[1], l[2], l[3])
        end
    end
end
for i = 4, #ARGV, 2 do
    local epoch, attempts, holder = read_lease(call('HGET', LEASE, ARGV[i]))
    if epoch == ARGV[i + 1] and holder == name then
        release(tonumber(ARGV[i]), epoch, attempts)
    end
end
job.released = job.released + count
touch(name)
if count > 0 and call('HEXISTS', HELD, name) == 1 then
    call('HINCRBY', HELD, name, -count)
end
close()
return count
