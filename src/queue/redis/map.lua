-- uses: job bulk lease worker
-- job CELLS n LEASES n RAN n SINCE ms
if not open() then
    return no_job()
end
local cells_max, leases_max, ran_max = tonumber(ARGV[3]), tonumber(ARGV[5]), tonumber(ARGV[7])
local per_cell = math.max(1, math.ceil(job.chunks / math.max(1, cells_max)))
local count = cells_max > 0 and math.ceil(job.chunks / per_cell) or 0
local function set_of(list)
    local out = {}
    for _, chunk in ipairs(list) do
        out[chunk] = true
    end
    return out
end
local delayed, dead = set_of(call('ZRANGE', DELAY, 0, -1)), set_of(call('ZRANGE', DEAD, 0, -1))

-- done leased ready delayed dead of each cell that has an open chunk; leases by worker.
local cells, held, records = {}, {}, call('HGETALL', LEASE)
for i = 1, #records, 2 do
    local chunk, place = records[i], 3
    local epoch, attempts, holder = read_lease(records[i + 1])
    if not epoch then -- what `create` put there to make the hash a table
        chunk = nil
    elseif dead[chunk] then
        place = 5
    elseif delayed[chunk] then
        place = 4
    elseif holder ~= '' then
        place = 2
        held[holder] = held[holder] or {}
        table.insert(held[holder], {tonumber(chunk), epoch, attempts})
    end
    if chunk then
        local index = floor(tonumber(chunk) / per_cell)
        local cell = cells[index] or {0, 0, 0, 0, 0}
        cells[index] = cell
        cell[place] = cell[place] + 1
    end
end
local flat, last = {}, nil
for i = 0, count - 1 do
    local c = cells[i] or {0, 0, 0, 0, 0}
    local begun = math.min(per_cell, math.max(0, job.delivered - i * per_cell))
    c[1] = begun - c[2] - c[3] - c[4] - c[5]
    if last and flat[last + 1] == c[1] and flat[last + 2] == c[2] and flat[last + 3] == c[3] and
        flat[last + 4] == c[4] and flat[last + 5] == c[5] then
        flat[last] = flat[last] + 1
    else
        last = #flat + 1
        flat[last] = 1
        for k = 1, 5 do
            flat[last + k] = c[k]
        end
    end
end

-- Epochs are the clock's microseconds.
local leases, depth, more = {}, 1, true
for _, list in pairs(held) do
    table.sort(list, function(a, b)
        return tonumber(a[2]) < tonumber(b[2])
    end)
end
while more and #leases < 5 * leases_max do
    more = false
    for worker, list in pairs(held) do
        local l = list[depth]
        if l and #leases < 5 * leases_max then
            more = true
            for _, word in ipairs({worker == FOREIGN and '' or worker, l[1], l[2], l[3] + 1,
                                   floor(tonumber(l[2]) / 1000)}) do
                leases[#leases + 1] = word
            end
        end
    end
    depth = depth + 1
end

local ran, newest = {}, {}
if ran_max > 0 then
    newest = call('XREVRANGE', RESULTS, '+', ARGV[9], 'COUNT', ran_max)
end
for _, entry in ipairs(newest) do
    local f = {}
    for i = 1, #entry[2], 2 do
        f[entry[2][i]] = entry[2][i + 1]
    end
    ran[#ran + 1] = f.worker_id or ''
    ran[#ran + 1] = tonumber(f.chunk_id) or 0
    ran[#ran + 1] = tonumber(f.attempt) or 1
    ran[#ran + 1] = tonumber(string.match(entry[1], '^%d+'))
    ran[#ran + 1] = floor((tonumber(f.duration_seconds) or 0) * 1000000)
end
return {'now_ms', now, 'chunks', int(job.chunks), 'per_cell', int(per_cell), 'cells', flat,
        'leases', leases, 'ran', ran}
