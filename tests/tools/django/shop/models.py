# The models of the day would stand here. Only the migrations are run, and they carry their own.
