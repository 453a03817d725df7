-- uses: job bulk lease worker
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
local NO_WORKER = 'no worker is here: `ttg worker` starts one'
-- For how long nobody has heard of a worker, in words; '' when it is not long.
local function silence_of(score)
    local ago = now - tonumber(score or now)
    return ago > PRESENCE_MS and format('%.1f s', ago / 1000) or ''
end
-- What holds up the job: '' when nothing does.
local newest = call('ZREVRANGE', ALIVE, 0, 0, 'WITHSCORES')
local silence, holds_up = silence_of(newest[2]), ''
if #newest == 0 then
    holds_up = NO_WORKER
elseif silence ~= '' then
    holds_up = 'no worker was heard of for ' .. silence .. ': `ttg worker` starts one'
end
if not ARGV[2] then
    local place = STATES[job.state + 1]
    local waiting = call('LLEN', READY) + job.fed - job.delivered
    local delayed = call('ZCARD', DELAY)
    if job.state == 1 then
        return say(place, 'it is paused: `ttg resume` goes on')
    elseif job.state == 3 then
        return say(place, 'it was canceled: no chunk runs any more')
    elseif job.state == 2 then
        return say(place, job.dead + job.dropped > 0 and
                   'it ended with dead letters: `ttg dlq list` shows them' or
                   'every chunk has its result')
    elseif holds_up ~= '' then
        return say(place, holds_up)
    elseif waiting > 0 then
        return say(place, 'chunks wait for a free worker')
    elseif job.delivered == job.completed + job.dead + job.dropped + delayed then
        return say(place, 'all open chunks wait for their retry')
    end
    return say(place, delayed > 0 and
               'workers run all open chunks but those that wait for their retry' or
               'workers run all open chunks')
end
if job.state == 3 then
    holds_up = 'the job was canceled: it does not run any more'
elseif job.state == 1 then
    holds_up = 'the job is paused: `ttg resume` goes on'
end
local chunk = tonumber(ARGV[2])
local epoch, attempts, holder = read_lease(call('HGET', LEASE, ARGV[2]))
local reasons = cjson.decode(call('HGET', WHY, ARGV[2]) or '[]')
local reason = #reasons > 0 and reasons[#reasons][4] or ''
if chunk >= job.chunks then
    return say('none', 'the job has no such chunk')
elseif chunk >= job.fed then
    return say('unfed', holds_up ~= '' and holds_up or
               'the window has not reached it: earlier chunks are open')
elseif call('ZSCORE', DEAD, ARGV[2]) then
    return say('dead', 'it was given up: `ttg dlq redrive` tries it again',
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
    return say('fresh', holds_up ~= '' and holds_up or 'it waits for a free worker')
elseif holder ~= '' then
    silence = silence_of(call('ZSCORE', ALIVE, holder))
    return say('leased', silence == '' and 'the worker runs it, or has it in advance' or
               'nobody has heard of the worker for ' .. silence ..
               ': the next worker or collector that asks takes it back',
               {worker = holder, attempts = attempts, epoch = epoch,
                since_ms = floor(tonumber(epoch) / 1000)}) -- epochs are the clock's microseconds
end
local due = call('ZSCORE', DELAY, ARGV[2])
if due then
    return say('delayed', job.state ~= 0 and holds_up or
               'its last attempt failed: it waits until it is due',
               {due_ms = tonumber(due), attempts = attempts, reason = reason})
end
return say('ready', holds_up ~= '' and holds_up or
           'it came back and is next in line for a free worker',
           {attempts = attempts, reason = reason})
