-- job worker incarnation SLOTS n INFLIGHT n [HELD chunk epoch ...]
if not open() then
    return no_job()
end
local name, incarnation, slots = ARGV[2], ARGV[3], tonumber(ARGV[5])
local known = read_worker(name)
if known and known.incarnation ~= incarnation then
    if tonumber(known.incarnation) > tonumber(incarnation) and
        now - (tonumber(call('ZSCORE', ALIVE, name)) or 0) < 1000 and
        tonumber(known.joined_ms) > now - 1000 then
        return fail('REPLACED a newer worker is called ' .. name)
    end
    lose(name, known, 'a new worker has its name')
    known = nil
end
local held, answer = {}, {}
for i = 9, #ARGV, 2 do
    local epoch, _, holder = read_lease(call('HGET', LEASE, ARGV[i]))
    local mine = epoch == ARGV[i + 1] and holder == name
    held[ARGV[i]] = mine
    answer[#answer + 1] = ARGV[i]
    answer[#answer + 1] = mine and ARGV[i + 1] or '0'
end
local count = 0
for _, l in ipairs(leases_of(name)) do
    if held[int(l[1])] then
        count = count + 1
    else
        give_back(l[1], l[2], l[3], name, false)
        job.released = job.released + 1
    end
end
if not known then
    event('worker.joined', nil, name, nil, slots)
    known = {incarnation = incarnation, joined_ms = int(now), completed = 0, failed = 0, lost = 0}
end
known.slots = slots
write_worker(name, known)
call('HSET', HELD, name, count)
call('ZADD', ALIVE, int(now), name)
close()
local text = call('HMGET', JOB, 'first', 'chunk_params', 'kernel', 'input', 'params_total')
local states = {'running', 'paused', 'finished', 'canceled'}
return {'state', states[job.state + 1], 'first', text[1], 'chunk_params', text[2],
        'params_total', text[5], 'chunks', int(job.chunks), 'max_attempts', job.max_attempts,
        'kernel', text[3], 'input', text[4], 'held', answer}
