//! The replicated catalog: what it overrides of DuckDB's own.

#include "catalog.hpp"

#include "compat.hpp"
#include "ddl.hpp"
#include "error.hpp"
#include "placement.hpp"
#include "schema_entry.hpp"
#include "statement.hpp"
#include "transaction_manager.hpp"
#include "write_plan.hpp"
#include "duckdb/catalog/default/default_schemas.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/parser/parsed_data/alter_table_info.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/parser/statement/create_statement.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/parsed_data/bound_create_table_info.hpp"

using namespace duckdb;

namespace quack {

bool ApplierMark::IsSet(ClientContext &context) {
	return Get(context) != nullptr;
}

shared_ptr<ApplierMark> ApplierMark::Get(ClientContext &context) {
	return context.registered_state->Get<ApplierMark>(KEY);
}

void RequireNotReserved(const Identifier &name) {
	if (name == INTERNAL_SCHEMA) {
		throw CatalogException("the name \"%s\" is reserved: take another one", INTERNAL_SCHEMA);
	}
}

QuackCatalog::QuackCatalog(AttachedDatabase &db, const void *node)
    : DuckCatalog(db), node(node), shared_name(db.GetName()) {
}

QuackCatalog::~QuackCatalog() {
	quack_rs_node_release(node);
}

bool QuackCatalog::Is(Catalog &catalog) {
	return catalog.GetCatalogType() == "quack" && catalog.IsDuckCatalog();
}

const void *QuackCatalog::Node() const {
	lock_guard<mutex> guard(seal_lock);
	if (!seal_reason.empty()) {
		throw ConnectionException("cannot write to \"%s\": %s", GetName().GetIdentifierName(), seal_reason);
	}
	return node;
}

void QuackCatalog::Fail(const string &reason) const {
	quack_rs_node_fail(node, Bytes(reason));
}

bool QuackCatalog::Serves() const {
	return quack_rs_node_serves(node);
}

bool QuackCatalog::IsSealed() const {
	lock_guard<mutex> guard(seal_lock);
	return !seal_reason.empty();
}

bool QuackCatalog::HasFailed() const {
	return quack_rs_node_has_failed(node);
}

void QuackCatalog::RequireRoom() const {
	QuackError error = NoError();
	quack_rs_node_require_room(node, &error);
	ThrowIfError(error);
}

void QuackCatalog::BeginCheckpoint(uint64_t count) const {
	QuackError error = NoError();
	quack_rs_node_begin_checkpoint(node, count, &error);
	ThrowIfError(error);
}

void QuackCatalog::EndCheckpoint(uint64_t count) const {
	quack_rs_node_end_checkpoint(node, count);
}

bool QuackCatalog::HasRoom() const {
	try {
		RequireRoom();
		return true;
	} catch (std::exception &) {
		return false;
	}
}

void QuackCatalog::RequireSound() const {
	if (!IsSound()) {
		throw IOException("the node is degraded and stores nothing of what it holds in memory: see FROM "
		                  "quack_raft_status(), then stop the server and start it again");
	}
}

bool QuackCatalog::GroupsEnabled() const {
	return quack_rs_node_groups_enabled(node);
}

void QuackCatalog::RequireGroups() const {
	QuackError error = NoError();
	quack_rs_node_require_groups(node, &error);
	ThrowIfError(error);
}

void QuackCatalog::RequireExtension(const string &name) const {
	QuackError error = NoError();
	quack_rs_node_require_extension(node, Bytes(name), &error);
	ThrowIfError(error);
}

uint64_t QuackCatalog::GroupId(const string &name) const {
	return quack_rs_node_group_id(node, Bytes(name));
}

ErrorData QuackCatalog::SupportsCreateTable(BoundCreateTableInfo &info) {
	// DuckDB's own refuses WITH, of which a table here has some.
	auto &options = info.Base().options;
	Options taken;
	std::swap(options, taken);
	auto error = DuckCatalog::SupportsCreateTable(info);
	std::swap(options, taken);
	return error;
}

void QuackCatalog::Seal(const string &reason) {
	lock_guard<mutex> guard(seal_lock);
	seal_reason = reason;
}

optional_ptr<CatalogEntry> QuackCatalog::CreateSchema(CatalogTransaction transaction, CreateSchemaInfo &info) {
	return ChangeCatalog(
	    transaction, *this, [&](const DefinitionScope &scope) { return DefineCreateSchema(scope, info); },
	    [&]() { return CreateSchemaEntry(transaction, info); });
}

optional_ptr<CatalogEntry> QuackCatalog::CreateSchemaEntry(CatalogTransaction transaction, CreateSchemaInfo &info) {
	auto result = AddSchemaEntry(transaction, info);
	// Throws unless the statement says IF NOT EXISTS or OR REPLACE.
	if (result || !info.ShouldReplaceOnConflict()) {
		return result;
	}
	DropInfo drop;
	drop.type = CatalogType::SCHEMA_ENTRY;
	drop.SetQualifiedName(info.GetQualifiedName().Parent());
	DropSchemaEntry(transaction, drop);
	return AddSchemaEntry(transaction, info);
}

optional_ptr<CatalogEntry> QuackCatalog::AddSchemaEntry(CatalogTransaction transaction, CreateSchemaInfo &info) {
	auto parents = info.ParentSchemas();
	if (!parents.empty()) {
		if (!GetSchemaCatalogSet().GetEntry(transaction, parents[0])) {
			throw CatalogException("%s is not a catalog or schema", parents[0]);
		}
		EntryLookupInfo lookup(CatalogType::SCHEMA_ENTRY, info.GetQualifiedName().Parent().Parent());
		auto parent = LookupSchema(transaction, lookup, OnEntryNotFound::THROW_EXCEPTION);
		return parent->Cast<QuackSchemaEntry>().CreateNested(transaction, info);
	}
	if (DefaultSchemaGenerator::IsDefaultSchema(info.SchemaName())) {
		// Such as information_schema: DuckDB has it in each database.
		return nullptr;
	}
	LogicalDependencyList dependencies;
	auto entry = make_uniq<QuackSchemaEntry>(*this, info);
	auto result = entry.get();
	if (!GetSchemaCatalogSet().CreateEntry(transaction, info.SchemaName(), std::move(entry), dependencies)) {
		return nullptr;
	}
	return result;
}

void QuackCatalog::DropSchema(ClientContext &context, DropInfo &info) {
	auto transaction = GetCatalogTransaction(context);
	ChangeCatalog(
	    transaction, *this, [&](const DefinitionScope &scope) { return DefineDropSchema(scope, info); },
	    [&]() {
		    DropSchemaEntry(transaction, info);
		    return true;
	    });
}

void QuackCatalog::DropSchemaEntry(CatalogTransaction transaction, DropInfo &info) {
	EntryLookupInfo lookup(CatalogType::SCHEMA_ENTRY, info.GetQualifiedName());
	auto schema = LookupSchema(transaction, lookup, info.if_not_found);
	if (!schema) {
		return;
	}
	if (!schema->set->DropEntry(transaction, schema->name, info.cascade, info.allow_drop_internal) &&
	    info.if_not_found == OnEntryNotFound::THROW_EXCEPTION) {
		throw CatalogException::MissingEntry(lookup, string());
	}
}

PhysicalOperator &QuackCatalog::PlanCreateTableAs(ClientContext &context, PhysicalPlanGenerator &planner,
                                                  LogicalCreateTable &op, PhysicalOperator &plan) {
	if (ApplierMark::IsSet(context)) {
		return DuckCatalog::PlanCreateTableAs(context, planner, op, plan);
	}
	return WritePlan(context, planner, *this).CreateTableAs(op, plan);
}

PhysicalOperator &QuackCatalog::PlanInsert(ClientContext &context, PhysicalPlanGenerator &planner, LogicalInsert &op,
                                           optional_ptr<PhysicalOperator> plan) {
	if (ApplierMark::IsSet(context)) {
		return DuckCatalog::PlanInsert(context, planner, op, plan);
	}
	return WritePlan(context, planner, *this).Insert(op, *plan);
}

PhysicalOperator &QuackCatalog::PlanDelete(ClientContext &context, PhysicalPlanGenerator &planner, LogicalDelete &op,
                                           PhysicalOperator &plan) {
	if (ApplierMark::IsSet(context)) {
		return DuckCatalog::PlanDelete(context, planner, op, plan);
	}
	return WritePlan(context, planner, *this).Delete(op, plan);
}

PhysicalOperator &QuackCatalog::PlanUpdate(ClientContext &context, PhysicalPlanGenerator &planner, LogicalUpdate &op,
                                           PhysicalOperator &plan) {
	if (ApplierMark::IsSet(context)) {
		return DuckCatalog::PlanUpdate(context, planner, op, plan);
	}
	return WritePlan(context, planner, *this).Update(op, plan);
}

PhysicalOperator &QuackCatalog::PlanMergeInto(ClientContext &context, PhysicalPlanGenerator &planner,
                                              LogicalMergeInto &op, PhysicalOperator &plan) {
	if (ApplierMark::IsSet(context)) {
		return DuckCatalog::PlanMergeInto(context, planner, op, plan);
	}
	return WritePlan(context, planner, *this).MergeInto(op, plan);
}

bool QuackCatalog::BuildsIndexNatively(ClientContext &context, TableCatalogEntry &table, bool is_unique) {
	if (ApplierMark::IsSet(context)) {
		auto &transactions = QuackTransactionManager::Get(*this);
		transactions.BeginWriting(table.Cast<DuckTableEntry>());
		transactions.RequireSettled(table.Cast<DuckTableEntry>());
		return true;
	}
	if (!IsPartOfTransaction(context)) {
		return false;
	}
	// An index is made of all rows that the store shows, before the catalog knows of it.
	auto &open = OpenTransactionOf(context, *this);
	auto &entry = table.Cast<DuckTableEntry>();
	open.BeginIndex(entry, is_unique);
	open.GoNative();
	// Its index would not hold what the applier adds while it is made, nor what it changes where it is.
	QuackTransactionManager::Get(*this).BeginAlter(context, open, *entry.GetStorage().GetDataTableInfo());
	return true;
}

unique_ptr<LogicalOperator> QuackCatalog::BindCreateIndex(Binder &binder, CreateStatement &stmt,
                                                          TableCatalogEntry &table, unique_ptr<LogicalOperator> plan) {
	auto is_unique = stmt.info->Cast<CreateIndexInfo>().constraint_type == IndexConstraintType::UNIQUE;
	if (BuildsIndexNatively(binder.context, table, is_unique)) {
		return DuckCatalog::BindCreateIndex(binder, stmt, table, std::move(plan));
	}
	auto scope = ScopeOf(binder.context, *this);
	return make_uniq<LogicalProposeDdl>(*this, DefineCreateIndex(scope, table, stmt.info->Cast<CreateIndexInfo>()));
}

unique_ptr<LogicalOperator> QuackCatalog::BindAlterAddIndex(Binder &binder, TableCatalogEntry &table_entry,
                                                            unique_ptr<LogicalOperator> plan,
                                                            unique_ptr<CreateIndexInfo> create_info,
                                                            unique_ptr<AlterTableInfo> alter_info) {
	if (BuildsIndexNatively(binder.context, table_entry, true)) {
		return DuckCatalog::BindAlterAddIndex(binder, table_entry, std::move(plan), std::move(create_info),
		                                      std::move(alter_info));
	}
	auto scope = ScopeOf(binder.context, *this);
	return make_uniq<LogicalProposeDdl>(*this, DefineAlter(scope, table_entry.ParentSchema(), *alter_info));
}

void QuackCatalog::ScanSchemas(ClientContext &context, std::function<void(SchemaCatalogEntry &)> callback) {
	auto applier = ApplierMark::IsSet(context);
	DuckCatalog::ScanSchemas(context, [&](SchemaCatalogEntry &schema) {
		if (applier || schema.name != INTERNAL_SCHEMA) {
			callback(schema);
		}
	});
}

optional_ptr<SchemaCatalogEntry> QuackCatalog::LookupSchema(CatalogTransaction transaction,
                                                            const EntryLookupInfo &schema_lookup,
                                                            OnEntryNotFound if_not_found) {
	if (transaction.HasContext()) {
		// Instead of not finding what it has created.
		ThrowIfDoomed(transaction.GetContext());
	}
	return DuckCatalog::LookupSchema(transaction, schema_lookup, if_not_found);
}

void QuackCatalog::OnDetach(ClientContext &context) {
	if (detachable) {
		return;
	}
	// DuckDB has taken the name out of its list already: put it back before refusing.
	Reattach(context, GetAttached());
	throw BinderException("Cannot detach \"%s\": this process serves it. End the server first with CALL quack_stop(...)",
	                      GetName().GetIdentifierName());
}

} // namespace quack
