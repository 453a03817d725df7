-- uses: job bulk lease worker recent
-- job worker incarnation SLOTS n INFLIGHT n VERSION text [HOST text] [BLOCK ms: not here] [HELD chunk epoch ...]
if not open() then
    return no_job()
end
local name, incarnation, slots, host, first_held = ARGV[2], ARGV[3], 1, '', #ARGV + 1
for i = 4, #ARGV, 2 do
    if ARGV[i] == 'SLOTS' then
        slots = tonumber(ARGV[i + 1])
    elseif ARGV[i] == 'HOST' then
        host = ARGV[i + 1]
    elseif ARGV[i] == 'HELD' then
        first_held = i + 1
        break
    end
end
local known = read_worker(name)
if known and known.incarnation ~= incarnation then
    if call('ZSCORE', GONE, name .. ' ' .. incarnation) then
        return fail('REPLACED a newer worker is called ' .. name)
    end
    lose(name, known, 'a new worker has its name')
    known = nil
end

local committed
local function still_mine(chunk, epoch)
    local now_epoch, attempts, holder = read_lease(call('HGET', LEASE, chunk))
    if now_epoch ~= epoch then -- committed, and the answer got lost: repeating it will say so
        committed = committed or recall(name)
        return committed(tonumber(chunk), epoch)
    elseif holder == name then
        return true
    elseif holder ~= '' or call('LREM', READY, 1, chunk) == 0 then
        return false
    end
    -- It was thought lost, but nobody has taken it since.
    call('XCLAIM', TASKS, GROUP, name, 0, id_of(tonumber(chunk)), 'FORCE', 'JUSTID')
    call('HSET', LEASE, chunk, epoch .. ' ' .. int(attempts) .. ' ' .. name)
    call('HDEL', LOSS, chunk)
    return true
end

local held, answer = {}, {}
for i = first_held, #ARGV, 2 do
    local mine = still_mine(ARGV[i], ARGV[i + 1])
    held[ARGV[i]] = mine
    answer[#answer + 1] = ARGV[i]
    answer[#answer + 1] = mine and ARGV[i + 1] or '0'
end
local count = 0
for _, l in ipairs(leases_of(name)) do
    if held[int(l[1])] then
        count = count + 1
    else -- the answer that granted it got lost
        give_back(l[1], l[2], l[3], name, false)
        job.released = job.released + 1
    end
end
if not known then
    call('XGROUP', 'CREATECONSUMER', TASKS, GROUP, name)
    event('worker.joined', nil, name, nil, slots)
    known = {incarnation = incarnation, joined_ms = int(now), completed = 0, failed = 0, lost = 0}
end
known.slots, known.host = slots, host
write_worker(name, known)
call('HSET', HELD, name, count)
-- Where a hundred start at once it may take them seconds to say the next word.
call('ZADD', ALIVE, int(count > 0 and now or now + NEW_MS), name)
check_presence()
close()
local text = call('HMGET', JOB, 'kernel', 'input', 'params_total')
return {'state', STATES[job.state + 1], 'boot', 0, 'protocol', 1, 'first', job.first,
        'chunk_params', job.chunk_params, 'params_total', text[3], 'chunks', int(job.chunks),
        'max_attempts', job.max_attempts, 'created_ms', job.created_ms, 'kernel', text[1], 'input', text[2], 'held', answer}
