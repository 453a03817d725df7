-- uses: job bulk lease worker
-- job
if not open() then
    return no_job()
end
local out, known = {}, {}
for _, name in ipairs(call('HKEYS', WORKERS)) do
    local w = read_worker(name)
    known[name] = true
    out[#out + 1] = {'worker', name, 'incarnation', w.incarnation, 'slots', w.slots, 'foreign', 0,
                     'held', tonumber(call('HGET', HELD, name) or 0), 'completed', w.completed,
                     'failed', w.failed, 'lost', w.lost, 'joined_ms', tonumber(w.joined_ms),
                     'host', w.host}
end

-- What a lost worker had is pending under its name until somebody takes it: it is no plain client.
local function reads_plainly(consumer)
    local page, chunks = call('XPENDING', TASKS, GROUP, '-', '+', SLICE, consumer), {}
    for i, entry in ipairs(page) do
        chunks[i] = int(chunk_of(entry[1]) or -1)
    end
    local records = #page > 0 and call('HMGET', LEASE, unpack(chunks)) or {}
    for i = 1, #page do
        local _, _, holder = read_lease(records[i])
        if not holder or holder == FOREIGN then
            return true
        end
    end
    return false
end

for _, consumer in ipairs(call('XINFO', 'CONSUMERS', TASKS, GROUP)) do
    local c = {}
    for i = 1, #consumer, 2 do
        c[consumer[i]] = consumer[i + 1]
    end
    if not known[c.name] and c.pending > 0 and reads_plainly(c.name) then
        out[#out + 1] = {'worker', c.name, 'incarnation', '0', 'slots', 1, 'foreign', 1,
                         'held', c.pending, 'completed', 0, 'failed', 0, 'lost', 0, 'joined_ms', 0,
                         'host', ''}
    end
end
return out
