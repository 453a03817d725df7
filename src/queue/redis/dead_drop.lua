-- job chunk
if not open() then
    return no_job()
end
if call('ZREM', DEAD, ARGV[2]) == 0 then
    return 0
end
call('XDEL', TASKS, id_of(tonumber(ARGV[2])))
call('HDEL', LEASE, ARGV[2])
call('HDEL', WHY, ARGV[2])
job.dead = job.dead - 1
job.dropped = job.dropped + 1
event('chunk.dropped', tonumber(ARGV[2]))
finish_if_done()
close()
return 1
