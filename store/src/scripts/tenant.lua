-- Functions of the scripts that ask whose a task is.

-- The tenant of a live record; '' for the default one, whose records do not name it.
local function tenant_of(record)
  local flag = string.byte(record, FLAG_AT)
  if flag == NO_FLAG or flag == BLOB_FLAG then return '' end
  return string.match(record, '^[^\n]*' .. TENANT_MARK .. '([^\n' .. COUNTED_MARK .. ']*)') or ''
end

-- Publishes that tasks of a tenant went to a status, Q, R or both (G). `event.rs` reads it.
local function publish_status(letter, tenant, ids)
  local whose = tenant == '' and '' or TENANT_MARK .. tenant .. '\n'
  redis.call('PUBLISH', TOPIC_STATUS, letter .. whose .. table.concat(ids))
end
