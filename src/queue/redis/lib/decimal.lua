-- Decimal arithmetic for numbers beyond 2^53: digits in groups of seven, lowest first, no sign.
local BASE = 10000000

local function limbs(text)
    local out = {}
    for i = #text, 1, -7 do
        out[#out + 1] = tonumber(string.sub(text, math.max(1, i - 6), i))
    end
    return out
end

local function limbs_text(a)
    local out = {}
    for i = #a, 1, -1 do
        out[#out + 1] = format('%07d', a[i])
    end
    return (string.gsub(table.concat(out), '^0+(%d)', '%1'))
end

local function limbs_less(a, b)
    for i = math.max(#a, #b), 1, -1 do
        local x, y = a[i] or 0, b[i] or 0
        if x ~= y then
            return x < y
        end
    end
    return false
end

-- a + sign * b, which is not negative.
local function limbs_add(a, b, sign)
    local out, carry = {}, 0
    for i = 1, math.max(#a, #b) + 1 do
        local v = (a[i] or 0) + sign * (b[i] or 0) + carry
        carry = floor(v / BASE)
        out[i] = v - carry * BASE
    end
    return out
end

local function limbs_multiply(a, b)
    local out = {}
    for i = 1, #a + #b + 1 do
        out[i] = 0
    end
    for i = 1, #a do
        local carry = 0
        for k = 1, #b + 1 do
            local v = out[i + k - 1] + a[i] * (b[k] or 0) + carry
            carry = floor(v / BASE)
            out[i + k - 1] = v - carry * BASE
        end
    end
    return out
end

-- Two decimals with signs.
local function decimal_add(x, y)
    local x_minus, x_digits = string.match(x, '^(%-?)(%d+)$')
    local y_minus, y_digits = string.match(y, '^(%-?)(%d+)$')
    local a, b = limbs(x_digits), limbs(y_digits)
    if x_minus == y_minus then
        return x_minus .. limbs_text(limbs_add(a, b, 1))
    elseif limbs_less(a, b) then
        return y_minus .. limbs_text(limbs_add(b, a, -1))
    end
    local digits = limbs_text(limbs_add(a, b, -1))
    return digits == '0' and digits or x_minus .. digits
end
