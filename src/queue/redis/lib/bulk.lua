-- Chunks that were taken by the dozen. To put each into the pending list of the group costs more
-- than the rest of the take, and most are done before anybody looks. Such a take moves the group on
-- and is noted here: for each worker "from count epoch left;" for runs of neighbours, `left` of
-- them not committed. The beats put into the pending list what is still leased after BULK_MS.
local BULK_MIN, BULK_MS = 32, 600

local function read_bulk(worker)
    local runs = {}
    for from, count, epoch, left in string.gmatch(call('HGET', BULK, worker) or '',
                                                  '(%d+) (%d+) (%d+) (%d+);') do
        runs[#runs + 1] = {from = tonumber(from), count = tonumber(count),
                           epoch = tonumber(epoch), left = tonumber(left)}
    end
    return runs
end

-- Runs without a chunk left go. The lowest chunk of each worker is in a sorted set, to know below
-- which all task entries are done.
local function write_bulk(worker, runs)
    local words, lowest = {}, nil
    for _, r in ipairs(runs) do
        if r.left > 0 then
            words[#words + 1] = format('%d %d %d %d;', r.from, r.count, r.epoch, r.left)
            lowest = math.min(lowest or r.from, r.from)
        end
    end
    if lowest then
        call('HSET', BULK, worker, table.concat(words))
        call('ZADD', BULKED, int(lowest), worker)
    else
        call('HDEL', BULK, worker)
        call('ZREM', BULKED, worker)
    end
end

local function note_bulk(worker, from, count, epoch)
    local runs = read_bulk(worker)
    runs[#runs + 1] = {from = from, count = count, epoch = epoch, left = count}
    write_bulk(worker, runs)
end

-- The lowest chunk of all such runs, or nil.
local function lowest_bulk()
    return tonumber(call('ZRANGE', BULKED, 0, 0, 'WITHSCORES')[2])
end

-- A function that strikes a committed chunk off; false: it is in none of the worker's runs.
local function striker(worker)
    local runs, r = read_bulk(worker), nil
    local function holds(run, chunk, epoch)
        local offset = chunk - run.from
        return offset >= 0 and offset < run.count and epoch - offset == run.epoch
    end
    local function strike(chunk, epoch)
        if not r or not holds(r, chunk, epoch) then
            r = nil
            for i = 1, #runs do
                r = r or (holds(runs[i], chunk, epoch) and runs[i])
            end
        end
        if not r then
            return false
        end
        r.left = r.left - 1
        if chunk == r.from then
            r.from, r.count, r.epoch = r.from + 1, r.count - 1, r.epoch + 1
        end
        return true
    end
    return strike, function()
        if #runs > 0 then
            write_bulk(worker, runs)
        end
    end
end

-- Puts into the pending list what the worker still holds of its runs: of those before `until_us`, or
-- of all. Needed before any of them may come back: entries of chunks that are neither there nor in a
-- run count as done, and are trimmed.
local function list_bulk(worker, until_us)
    local runs, young = read_bulk(worker), {}
    for _, r in ipairs(runs) do
        local chunks, words = {}, {TASKS, GROUP, worker, 0}
        if until_us and r.epoch > until_us then
            young[#young + 1] = r
        else
            for i = 1, r.count do
                chunks[i] = int(r.from + i - 1)
            end
        end
        for i, record in ipairs(#chunks > 0 and call('HMGET', LEASE, unpack(chunks)) or {}) do
            local epoch, holder = string.match(record or '', '^(%d+) %d+ (.*)$')
            if holder == worker and tonumber(epoch) == r.epoch + i - 1 then
                words[#words + 1] = id_of(r.from + i - 1)
            end
        end
        if #words > 4 then
            words[#words + 1], words[#words + 2] = 'FORCE', 'JUSTID'
            call('XCLAIM', unpack(words))
        end
    end
    if #young < #runs then
        write_bulk(worker, young)
    end
end
