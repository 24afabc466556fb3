// The system has no threads, so there is nothing to declare.
