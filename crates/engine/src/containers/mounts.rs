//! Where containers and volumes meet: from what a request says about mounts to the list that the shim gets.
