-- Chunks, their parameters, and the window of tasks.
local EXACT = 4503599627370496 -- far below it all sums are exact
local step, base

local function name_of(chunk, text)
    return text and #text >= 5 and text or format('%05d', chunk)
end

-- "2026-02-09T10:00:12Z"
local function instant(ms)
    local s = floor(ms / 1000)
    local days = floor(s / 86400) + 719468
    local era = floor(days / 146097)
    local doe = days % 146097
    local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
    local mp = floor((5 * doy + 2) / 153)
    local month = mp < 10 and mp + 3 or mp - 9
    local year = yoe + era * 400 + (month <= 2 and 1 or 0)
    return format('%04d-%02d-%02dT%02d:%02d:%02dZ', year, month,
                  doy - floor((153 * mp + 2) / 5) + 1, floor(s % 86400 / 3600),
                  floor(s % 3600 / 60), s % 60)
end

-- First and last parameter of a chunk and how many, as texts; `text` is that of its number, if known.
-- Making texts is what scripts spend most on.
local function range(chunk, text)
    local count = chunk == job.chunks - 1 and job.last_count or job.chunk_params
    if not step then
        step, base = tonumber(job.chunk_params), tonumber(job.first)
    end
    local from = base + chunk * step
    if from > -EXACT and from + step < EXACT and base > -EXACT then
        local first = from == chunk and text or format('%d', from)
        return first, count == '1' and first or format('%d', from + count - 1), count
    end
    local offset = limbs_text(limbs_multiply(limbs(int(chunk)), limbs(job.chunk_params)))
    local first = decimal_add(job.first, offset)
    return first, decimal_add(decimal_add(first, count), '-1'), count
end

-- Id of the entry up to which the group has been served.
local function last_delivered()
    for _, group in ipairs(call('XINFO', 'GROUPS', TASKS)) do
        local fields = {}
        for i = 1, #group, 2 do
            fields[group[i]] = group[i + 1]
        end
        if fields.name == GROUP then
            return fields['last-delivered-id']
        end
    end
    return '0-0'
end

-- Somebody else added to the task stream, and ids only grow: out with it.
local function expel()
    local last = id_of(job.fed - 1)
    repeat
        local page = call('XRANGE', TASKS, '(' .. last, '+', 'COUNT', SLICE)
        for _, entry in ipairs(page) do
            call('XDEL', TASKS, entry[1])
        end
    until #page < SLICE
    call('XSETID', TASKS, last)
    local ms, seq = string.match(last_delivered(), '^(%d+)%-(%d+)$')
    if tonumber(ms) > job.created_ms or tonumber(seq) > job.fed then
        call('XGROUP', 'SETID', TASKS, GROUP, last)
    end
end

-- Tops the window up, a slice at a time. Returns an error when the server refuses.
local function feed(limit)
    local room = job.window - (job.fed - job.completed - job.dead - job.dropped)
    local count = math.min(room, limit, job.chunks - job.fed)
    if count <= 0 or job.state > 1 then
        return nil
    end
    local at = instant(job.created_ms)
    local attempt, front = redis.pcall, job.front
    local text, following = nil, int(job.fed)
    local function add(chunk)
        local from, to, total = range(chunk, text)
        return attempt('XADD', TASKS, front .. following, 'chunk_id', name_of(chunk, text),
                       'start_param', from, 'end_param', to, 'total_in_chunk', total,
                       'created_at', at)
    end
    for chunk = job.fed, job.fed + count - 1 do
        text, following = following, format('%d', chunk + 1) -- also the end of its id
        local id = add(chunk)
        if id.err and string.find(id.err, 'equal or smaller') then
            expel()
            id = add(chunk)
        end
        if id.err then
            return id
        end
        job.fed = chunk + 1
    end
    return nil
end
