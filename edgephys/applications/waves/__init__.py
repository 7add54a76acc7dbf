"""Wave simulation: data, networks, task, score and studies."""
