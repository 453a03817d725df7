-- uses: job
-- job PAUSE|RESUME|CANCEL|FORGET
if not open() then
    return no_job()
end
local what = ARGV[2]
if what == 'FORGET' then
    if job.state < 2 then
        return fail('ERR job ' .. ARGV[1] .. ' has not ended')
    end
    call('DEL', JOB, TASKS, RESULTS, LEASE, READY, DELAY, DEAD, WHY, WORKERS, ALIVE, HELD, EVENTS,
         DIGEST, LOSS, GONE, RECENT, GARBAGE, RENEWED, CHARGED, BULK, BULKED, HISTORY)
    redis.pcall('SREM', 'ttg:jobs', ARGV[1]) -- on a cluster it may live elsewhere
    return redis.status_reply('OK')
end
if job.state == 3 and what == 'CANCEL' then
    return redis.status_reply('OK')
end
if job.state >= 2 then
    return fail('JOBENDED job ' .. ARGV[1] .. ' has ended')
end
local to = {PAUSE = 1, RESUME = 0, CANCEL = 3}
local names = {PAUSE = 'job.paused', RESUME = 'job.resumed', CANCEL = 'job.canceled'}
if job.state ~= to[what] then
    job.state = to[what]
    if what == 'CANCEL' then
        job.finished_ms = now
    end
    event(names[what])
end
close()
return redis.status_reply('OK')
