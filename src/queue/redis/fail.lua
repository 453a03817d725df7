-- uses: job bulk lease worker
-- job worker incarnation chunk epoch RETRY|FINAL reason RANDOM r (0..1, added by the client)
if not open() then
    return no_job()
end
local name, chunk = ARGV[2], tonumber(ARGV[4])
local epoch, attempts, holder = read_lease(call('HGET', LEASE, ARGV[4]))
if epoch ~= ARGV[5] or holder == '' then
    return {'stale', 0}
end
list_bulk(holder)
attempts = attempts + 1
job.attempts = job.attempts + 1
job.failures = job.failures + 1
call('HINCRBY', HELD, holder, -1)
remember(chunk, attempts, name, ARGV[7])
local w = read_worker(name)
if w and w.incarnation == ARGV[3] then
    w.failed = w.failed + 1
    write_worker(name, w)
    touch(name)
end
if ARGV[6] == 'FINAL' or attempts >= job.max_attempts then
    bury(chunk, attempts, name, ARGV[7])
    finish_if_done()
    close()
    return {'dead', 0}
end
local limits = call('HMGET', JOB, 'retry_min_ms', 'retry_max_ms', 'retry_jitter')
local wait = math.min(limits[1] * 2 ^ math.min(attempts - 1, 30), tonumber(limits[2]))
wait = floor(wait * (1 + (2 * ARGV[9] - 1) * limits[3] / 100))
call('HSET', LEASE, ARGV[4], epoch .. ' ' .. int(attempts) .. ' ')
call('ZADD', DELAY, int(now + wait), ARGV[4])
event('chunk.failed', chunk, name, nil, wait, ARGV[7])
check_presence() -- so that a clock that is set anew is known to have been set
close()
return {'retry', wait}
