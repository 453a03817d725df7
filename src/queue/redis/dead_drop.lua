-- uses: job bulk lease
-- job chunk
if not open() then
    return no_job()
end
if call('ZREM', DEAD, ARGV[2]) == 0 then
    return 0
end
forget_chunk(tonumber(ARGV[2]), FOREIGN)
if tonumber(ARGV[2]) == job.chunks - 1 then
    call('HSET', JOB, 'last_dropped', '1') -- its size is another one
end
job.dead = job.dead - 1
job.dropped = job.dropped + 1
event('chunk.dropped', tonumber(ARGV[2]))
finish_if_done()
close()
return 1
