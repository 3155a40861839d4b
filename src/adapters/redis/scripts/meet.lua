-- Asks for the birth alone, so that every replica knows it soon. KEYS: birth.
return { 'ok', now, born }
