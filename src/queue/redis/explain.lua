-- uses: job bulk lease
-- job [chunk]
if not open() then
    return no_job()
end
local out = {}
local function say(place, why, more)
    out = {'place', place, 'why', why}
    for key, value in pairs(more or {}) do
        out[#out + 1] = key
        out[#out + 1] = value
    end
    return out
end
local alive = call('ZCARD', ALIVE)
if not ARGV[2] then
    local place = STATES[job.state + 1]
    if job.state == 1 then
        return say(place, 'the job is paused; ttg resume lets it go on')
    elseif job.state >= 2 then
        return say(place, 'the job has ended')
    elseif alive == 0 then
        return say(place, 'no worker has joined')
    elseif call('ZCARD', DELAY) > 0 and call('LLEN', READY) == 0 then
        return say(place, 'chunks run, or wait for their retry')
    end
    return say(place, 'chunks are being worked on')
end
local chunk = tonumber(ARGV[2])
local epoch, attempts, holder = read_lease(call('HGET', LEASE, ARGV[2]))
local reasons = cjson.decode(call('HGET', WHY, ARGV[2]) or '[]')
local reason = #reasons > 0 and reasons[#reasons][4] or ''
if chunk >= job.chunks then
    return say('none', 'the job has chunks 0 to ' .. int(job.chunks - 1))
elseif chunk >= job.fed then
    return say('unfed', 'the window has not reached it yet')
elseif call('ZSCORE', DEAD, ARGV[2]) then
    return say('dead', 'it was given up; ttg dlq redrive tries it again',
               {attempts = attempts, reason = reason})
elseif not epoch and chunk < job.delivered then
    return say('done', 'it has a result, or was dropped')
elseif not epoch or holder == FOREIGN then
    local p = call('XPENDING', TASKS, GROUP, id_of(chunk), id_of(chunk), 1)[1]
    if p then
        return say('leased', 'a plain Redis client works on it',
                   {worker = p[2], attempts = attempts or 0})
    elseif holder == FOREIGN then
        return say('leased', 'a plain Redis client acknowledged it without a result; ' ..
                   'the next idle worker will find it')
    end
    return say('fresh', alive == 0 and 'no worker has joined' or 'it waits for a free worker')
elseif holder ~= '' then
    return say('leased', 'a worker has it', {worker = holder, attempts = attempts, epoch = epoch,
               since_ms = floor(tonumber(epoch) / 1000)}) -- epochs are the clock's microseconds
end
local due = call('ZSCORE', DELAY, ARGV[2])
if due then
    return say('delayed', 'it failed and waits for its retry',
               {due_ms = tonumber(due), attempts = attempts, reason = reason})
end
return say('ready', 'it waits for a free worker', {attempts = attempts, reason = reason})
