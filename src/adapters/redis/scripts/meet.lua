-- Asks for the birth alone, so that every replica knows it soon. KEYS: birth. ARGV: births that the asker has left for
-- others. Meanwhile other servers decided, and this one knows nothing of it: a primary that hung while another was made
-- one, say. Its memory begins anew, once, whoever comes back first.
for _, left in ipairs(ARGV) do
    if left == whole(born) then begin() end
end
return { 'ok', now, born }
