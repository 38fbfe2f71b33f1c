from tasks import add

print(add.delay("from a worker").get(timeout=60))
