"""The job body: one fixed entry function, its supervisor, and the worker that it watches."""
