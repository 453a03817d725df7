-- Leases: chunk -> "epoch attempts holder". Without a holder the chunk waits in `ready` or `delay`,
-- or is in `dead`. Epoch 0 and holder * : a plain client read it; the pending list knows which.
local FOREIGN = '*'

local function read_lease(text)
    if not text then
        return nil
    end
    local epoch, attempts, worker = string.match(text, '^(%d+) (%d+) (.*)$')
    return epoch, tonumber(attempts), worker
end

-- Chunks up to `chunk` have been delivered, those that we did not see to plain clients.
local function deliver(chunk)
    local words = {}
    for c = job.delivered, chunk - 1 do
        words[#words + 1] = int(c)
        words[#words + 1] = '0 0 ' .. FOREIGN
    end
    call_sliced(words, 'HSET', LEASE)
    job.delivered = math.max(job.delivered, chunk)
end

-- Done or dropped: nothing is left of the chunk but, for a while, its task entry.
local function forget_chunk(chunk, holder)
    call('XACK', TASKS, GROUP, id_of(chunk))
    call('XDEL', TASKS, id_of(chunk))
    call('HDEL', LEASE, int(chunk))
    call('HDEL', WHY, int(chunk))
    call('HDEL', LOSS, int(chunk))
    if holder == '' then
        call('LREM', READY, 1, int(chunk))
        call('ZREM', DELAY, int(chunk))
    elseif holder ~= FOREIGN and call('HEXISTS', HELD, holder) == 1 then
        call('HINCRBY', HELD, holder, -1)
    end
end

local function remember(chunk, attempt, worker, reason)
    local known = call('HGET', WHY, int(chunk))
    local list = known and cjson.decode(known) or {}
    list[#list + 1] = {now, attempt, worker, string.sub(reason, -4096)}
    if #list > 8 then
        table.remove(list, 1)
    end
    call('HSET', WHY, int(chunk), cjson.encode(list))
end

-- The chunk is given up: its entry stays, its lease goes.
local function bury(chunk, attempts, worker, reason)
    call('XACK', TASKS, GROUP, id_of(chunk))
    call('HSET', LEASE, int(chunk), '0 ' .. int(attempts) .. ' ')
    call('ZADD', DEAD, int(now), int(chunk))
    job.dead = job.dead + 1
    event('chunk.dead', chunk, worker, nil, attempts, reason)
end

-- A lease ended without a result. Charged ones count an attempt and may be the last.
local function give_back(chunk, epoch, attempts, worker, charged, reason)
    if charged then
        attempts = attempts + 1
        job.attempts = job.attempts + 1
        remember(chunk, attempts, worker, reason)
        if attempts >= job.max_attempts then
            bury(chunk, attempts, worker, reason)
            return
        end
    end
    call('HSET', LEASE, int(chunk), epoch .. ' ' .. int(attempts) .. ' ')
    call('RPUSH', READY, int(chunk))
end

-- The same, after the holder was lost: whoever takes it next has reclaimed it.
local function reclaim(chunk, epoch, attempts, worker, charged, reason)
    give_back(chunk, epoch, attempts, worker, charged, reason)
    call('HSET', LOSS, int(chunk), int(now) .. ' ' .. worker)
end

-- The leases of a worker, oldest first: {chunk, epoch, attempts}.
local function leases_of(worker)
    local out, from = {}, '-'
    list_bulk(worker)
    repeat
        local page = call('XPENDING', TASKS, GROUP, from, '+', SLICE, worker)
        local chunks = {}
        for i, entry in ipairs(page) do
            chunks[i] = int(chunk_of(entry[1]) or -1)
            from = '(' .. entry[1]
        end
        local records = #page > 0 and call('HMGET', LEASE, unpack(chunks)) or {}
        for i, chunk in ipairs(chunks) do
            local epoch, attempts, holder = read_lease(records[i])
            if holder == worker then
                out[#out + 1] = {tonumber(chunk), epoch, attempts}
            end
        end
    until #page < SLICE
    table.sort(out, function(a, b)
        return tonumber(a[2]) < tonumber(b[2])
    end)
    return out
end
