//! The extension's view of one DuckDB instance.

#include "host.hpp"

using namespace duckdb;

namespace quack {

Host::Host(DatabaseInstance &db) : instance(db.shared_from_this()) {
	rust = quack_rs_host_open(this);
}

Host::~Host() {
	quack_rs_host_close(rust);
}

shared_ptr<DatabaseInstance> Host::Instance() const {
	auto result = instance.lock();
	if (!result) {
		throw ConnectionException("the DuckDB instance is being closed");
	}
	return result;
}

void CloseHeld::operator()(Connection *connection) const {
	delete connection;
	host->held--;
}

HeldConnection Host::Connect() {
	auto connection = make_uniq<Connection>(*Instance());
	held++;
	return HeldConnection(connection.release(), CloseHeld {this});
}

Host &Host::Get(optional_ptr<StorageExtensionInfo> info) {
	return reinterpret_cast<Host &>(*info);
}

Host &Host::Get(ClientContext &context) {
	auto extension = StorageExtension::Find(DBConfig::GetConfig(context), HOST_EXTENSION);
	if (!extension) {
		throw InternalException("the storage extension is not registered");
	}
	return Get(extension->storage_info.get());
}

} // namespace quack

extern "C" bool quack_cpp_host_abandoned(void *host_p) {
	auto &host = *static_cast<quack::Host *>(host_p);
	// The counts are read one after the other: a caller looks twice before it believes this.
	auto references = static_cast<int64_t>(host.instance.use_count());
	return references <= host.held.load();
}
