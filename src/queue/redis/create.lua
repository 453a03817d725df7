-- job FIRST a LAST b CHUNK n WINDOW n MAXATTEMPTS n RETRYMIN ms RETRYMAX ms RETRYJITTER percent
-- STALE ms KERNEL text INPUT text CHUNKS n LASTCOUNT n PARAMS n (the last three are added by the client)
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
        return fail('JOBENDED job ' .. ARGV[1] .. ' has ended; forget it or choose another name')
    end
    for _, s in ipairs(same) do
        local known = call('HGET', JOB, s[1])
        if known ~= o[s[2]] then
            return fail('JOBEXISTS job ' .. ARGV[1] .. ' exists with ' .. s[1] .. ' ' .. known ..
                        ', not ' .. o[s[2]])
        end
    end
    return {'created', 0, 'created_ms', job.created_ms}
end
if tonumber(o.CHUNKS) > 9007199254740000 then
    return fail('ERR more than 9e15 chunks; use larger ones')
end
local fields = {'state', '0', 'created_ms', int(now), 'chunks', o.CHUNKS, 'last_count', o.LASTCOUNT, 'params_total', o.PARAMS,
                'window', o.WINDOW, 'name', ARGV[1], 'seen_ms', int(now), 'grace_ms', int(now + GRACE_MS)}
for _, s in ipairs(same) do
    fields[#fields + 1] = s[1]
    fields[#fields + 1] = o[s[2]]
end
-- What an earlier job of this name, or somebody else, left behind.
call('DEL', TASKS, RESULTS, LEASE, READY, DELAY, DEAD, WHY, WORKERS, ALIVE, HELD, EVENTS, DIGEST,
     P .. 'loss')
call('HSET', JOB, unpack(fields))
call('XGROUP', 'CREATE', TASKS, GROUP, '0', 'MKSTREAM')
open()
event('job.created')
feed(SLICE)
finish_if_done()
close()
return {'created', 1, 'created_ms', job.created_ms}
