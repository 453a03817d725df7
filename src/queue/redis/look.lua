-- job: what a collector wants to know before it reads the results behind its cursor
if not open() then
    return no_job()
end
check_presence()
absorb()
close()
local newest = call('XREVRANGE', RESULTS, '+', '-', 'COUNT', 1)[1]
return {job.state >= 2 and 1 or 0, newest and newest[1] or '0-0', int(job.trimmed)}
