-- uses: job decimal range
-- job FIRST a LAST b CHUNK n WINDOW n MAXATTEMPTS n RETRYMIN ms RETRYMAX ms RETRYJITTER percent
-- STALE ms KERNEL text INPUT text CHUNKS n LASTCOUNT n PARAMS n (the last three are the client's)
local o = {}
for i = 2, #ARGV, 2 do
    o[ARGV[i]] = ARGV[i + 1]
end
local same = {{'first', 'FIRST'}, {'last', 'LAST'}, {'chunk_params', 'CHUNK'},
              {'max_attempts', 'MAXATTEMPTS'}, {'retry_min_ms', 'RETRYMIN'},
              {'retry_max_ms', 'RETRYMAX'}, {'retry_jitter', 'RETRYJITTER'}, {'stale_ms', 'STALE'},
              {'kernel', 'KERNEL'}, {'input', 'INPUT'}}
if open() then
    if job.state >= 2 then
        return fail('JOBENDED job ' .. ARGV[1] .. ' has ended; `ttg cancel --forget` removes it, or choose another name')
    end
    for _, s in ipairs(same) do
        local known = call('HGET', JOB, s[1])
        if known ~= o[s[2]] then
            return fail('JOBEXISTS job ' .. ARGV[1] .. ' exists with ' .. s[1] .. ' ' .. known ..
                        ', not ' .. o[s[2]])
        end
    end
    return {'job', ARGV[1], 'created', 0, 'created_ms', job.created_ms, 'chunks', int(job.chunks),
            'state', STATES[job.state + 1]}
end
if outdated then
    return no_job()
end
if tonumber(o.CHUNKS) > 4503599627370496 then
    return fail('ERR more than 2^52 chunks; use larger ones')
end
-- Without a job these are somebody else's: other programs use the same names.
for _, key in ipairs({TASKS, RESULTS}) do
    if call('EXISTS', key) == 1 then
        return fail('JOBEXISTS the key ' .. key .. ' exists and belongs to no job; ' ..
                    'delete it or choose another job name')
    end
end
local fields = {'state', '0', 'created_ms', int(now), 'chunks', o.CHUNKS,
                'last_count', o.LASTCOUNT, 'params_total', o.PARAMS, 'window', o.WINDOW,
                'name', ARGV[1], 'absorbed', '0-0', 'seen_ms', int(now),
                'note', 'a value of more than 64 bytes makes Redis keep this hash as a table, for speed'}
for _, s in ipairs(same) do
    fields[#fields + 1] = s[1]
    fields[#fields + 1] = o[s[2]]
end
call('HSET', JOB, unpack(fields))
call('DEL', LEASE, READY, DELAY, DEAD, WHY, WORKERS, ALIVE, HELD, EVENTS, DIGEST, LOSS, GONE, RECENT,
     GARBAGE, RENEWED, CHARGED, BULK, BULKED, HISTORY)
if SERVER then
    begin_generation('0-0', 0)
end
call('HSET', LEASE, '', 'a value of more than 64 bytes makes Redis keep this hash as a table, for speed')
call('XGROUP', 'CREATE', TASKS, GROUP, '0', 'MKSTREAM')
open()
event('job.created')
feed(SLICE)
finish_if_done()
close()
return {'job', ARGV[1], 'created', 1, 'created_ms', job.created_ms, 'chunks', int(job.chunks),
        'state', STATES[job.state + 1]}
