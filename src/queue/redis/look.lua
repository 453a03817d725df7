-- uses: job decimal range bulk lease worker result
-- job: what a collector wants to know before it reads the results behind its cursor
if not open() then
    return no_job()
end
check_presence()
absorb()
close()
return {job.state >= 2 and 1 or 0, job.absorbed, call('HGET', JOB, 'trimmed_to') or '0-0',
        call('LRANGE', HISTORY, 0, -1)}
