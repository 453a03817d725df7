-- The newest commits, to know one that comes again since its answer got lost: for each
-- "worker|chunk epoch count;..." with runs in which both count up.
local RECENT_MAX = 1024

local function note_commit(name, numbers, epochs)
    local out, from = {}, 1
    for i = 2, #numbers + 1 do
        if numbers[i] ~= numbers[from] + i - from or epochs[i] ~= epochs[from] + i - from then
            out[#out + 1] = format('%d %d %d;', numbers[from], epochs[from], i - from)
            from = i
        end
    end
    if call('LPUSH', RECENT, name .. '|' .. table.concat(out)) > RECENT_MAX + 100 then
        call('LTRIM', RECENT, 0, RECENT_MAX - 1)
    end
end

-- A function that tells whether this worker has committed that chunk with that epoch.
local function recall(name)
    local runs = {} -- by what a run's chunks and epochs have in common: their difference
    for _, text in ipairs(call('LRANGE', RECENT, 0, -1)) do
        if string.sub(text, 1, #name + 1) == name .. '|' then
            for chunk, epoch, count in string.gmatch(text, '(%d+) (%d+) (%d+);') do
                local list = runs[epoch - chunk] or {}
                runs[epoch - chunk] = list
                list[#list + 1] = {tonumber(chunk), chunk + count}
            end
        end
    end
    return function(chunk, epoch)
        for _, run in ipairs(runs[epoch - chunk] or {}) do
            if chunk >= run[1] and chunk < run[2] then
                return true
            end
        end
        return false
    end
end
