CREATE INDEX messages_paid ON messages (room, id) WHERE amount IS NOT NULL;
