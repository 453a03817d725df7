-- uses: job
-- KEYS: the hashes of all known jobs
local out = {}
for _, key in ipairs(KEYS) do
    local h = call('HMGET', key, 'name', 'state', 'chunks', 'completed', 'dead', 'created_ms')
    if h[1] then
        out[#out + 1] = {'job', h[1], 'state', STATES[h[2] + 1], 'chunks', h[3],
                         'completed', h[4] or '0', 'dead_letters', h[5] or '0',
                         'workers', call('HLEN', string.sub(key, 1, -4) .. 'workers'),
                         'created_ms', h[6]}
    end
end
return out
