-- Chunks that were taken by the hundred. To put each into the pending list of the group costs more
-- than the rest of the take, and most are done before anybody looks. Such a take moves the group on
-- and is noted here: for each worker "from count epoch left;" for runs of neighbours, `left` of
-- them not committed. The beats put into the pending list what is still leased after BULK_MS.
local BULK_MIN, BULK_MS = 100, 300

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

-- Calls each(chunk, epoch, attempts) for what the worker still holds of a run.
local function each_held(worker, run, each)
    local chunks = {}
    for i = 1, run.count do
        chunks[i] = int(run.from + i - 1)
    end
    for i, record in ipairs(call('HMGET', LEASE, unpack(chunks))) do
        local epoch, attempts, holder = string.match(record or '', '^(%d+) (%d+) (.*)$')
        if holder == worker and tonumber(epoch) == run.epoch + i - 1 then
            each(run.from + i - 1, epoch, tonumber(attempts))
        end
    end
end

-- What is held for longer gets into the pending list, for all to see.
local function list_bulk(worker)
    local runs, young = read_bulk(worker), {}
    local old = (now - BULK_MS) * 1000 + job.skip_us -- epochs begin with the time
    for _, r in ipairs(runs) do
        local words = {TASKS, GROUP, worker, 0}
        if r.epoch > old then
            young[#young + 1] = r
        else
            each_held(worker, r, function(chunk)
                words[#words + 1] = id_of(chunk)
            end)
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
