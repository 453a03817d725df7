-- uses: job bulk lease
-- job ALL|chunk
if not open() then
    return no_job()
end
if job.state == 3 then
    return fail('JOBENDED job ' .. ARGV[1] .. ' was canceled')
end
local count = 0
local function redrive(chunk)
    if call('ZREM', DEAD, chunk) == 1 then
        call('HSET', LEASE, chunk, '0 0 ')
        call('RPUSH', READY, chunk)
        job.dead = job.dead - 1
        job.redriven = job.redriven + 1
        count = count + 1
        event('chunk.redriven', tonumber(chunk))
    end
end
if ARGV[2] == 'ALL' then
    repeat
        local page = call('ZRANGE', DEAD, 0, SLICE - 1)
        for _, chunk in ipairs(page) do
            redrive(chunk)
        end
    until #page == 0
else
    redrive(ARGV[2])
end
if count > 0 and job.state == 2 then
    job.state = 0
    job.finished_ms = 0
end
close()
return count
