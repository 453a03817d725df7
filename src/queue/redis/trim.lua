-- uses: job
-- job id (of the newest result that is safe outside)
if not open() then
    return no_job()
end
-- The newest results stay for onlookers: what goes are those before a mark set 10,000 results ago.
local mark = call('HMGET', JOB, 'trim_id', 'trim_count')
if not mark[1] then
    call('HSET', JOB, 'trim_id', ARGV[2], 'trim_count', int(job.result_count))
elseif job.result_count - mark[2] >= 10000 then
    local last = call('XREVRANGE', RESULTS, '(' .. mark[1], '-', 'COUNT', 1)[1]
    if last then
        call('HSET', JOB, 'trimmed_to', last[1])
    end
    job.trimmed = job.trimmed + call('XTRIM', RESULTS, 'MINID', mark[1])
    call('HSET', JOB, 'trim_id', ARGV[2], 'trim_count', int(job.result_count))
end
close()
return int(job.trimmed + 1)
